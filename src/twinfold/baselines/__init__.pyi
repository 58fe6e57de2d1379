from .cadm_file import load_cadm as load_cadm, save_cadm as save_cadm
from .cadm_model import CaDM as CaDM
from .cadm_settings import CaDMSettings as CaDMSettings
from .cadm_training import fit_cadm as fit_cadm
