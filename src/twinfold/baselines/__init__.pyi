from .augmentation import (
    fit_augmented as fit_augmented,
    simulate_trajectories as simulate_trajectories,
)
from .cadm_file import load_cadm as load_cadm, save_cadm as save_cadm
from .cadm_model import CaDM as CaDM
from .cadm_settings import CaDMSettings as CaDMSettings
from .cadm_training import fit_cadm as fit_cadm
from .d3rlpy_offline import fit_offline as fit_offline
from .morel_file import load_morel as load_morel, save_morel as save_morel
from .morel_model import MOReL as MOReL
from .morel_settings import MOReLSettings as MOReLSettings
from .morel_training import fit_morel as fit_morel
from .offline_file import load_offline as load_offline, save_offline as save_offline
from .offline_policy import OfflinePolicy as OfflinePolicy
from .offline_settings import (
    AugmentationSettings as AugmentationSettings,
    OfflineSettings as OfflineSettings,
    offline_settings as offline_settings,
)
