from .cadm_file import load_cadm as load_cadm, save_cadm as save_cadm
from .cadm_model import CaDM as CaDM
from .cadm_settings import CaDMSettings as CaDMSettings
from .cadm_training import fit_cadm as fit_cadm
from .morel_file import load_morel as load_morel, save_morel as save_morel
from .morel_model import MOReL as MOReL
from .morel_settings import MOReLSettings as MOReLSettings
from .morel_training import fit_morel as fit_morel
