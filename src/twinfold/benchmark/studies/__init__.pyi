from .agent_maps import run_map as run_map
from .cart_overlays import run_carts as run_carts
from .model_rank import rank_fit as rank_fit, run_rank as run_rank
from .study_figures import draw_study as draw_study
from .study_page import (
    studies_page as studies_page,
    studies_sections as studies_sections,
    studies_tables as studies_tables,
)
from .study_records import (
    find_study as find_study,
    read_studies as read_studies,
    study_records_path as study_records_path,
)
from .study_runs import (
    run_on_fit as run_on_fit,
    run_study as run_study,
    study_jobs as study_jobs,
)
from .study_settings import (
    STUDIES as STUDIES,
    StudySettings as StudySettings,
    load_studies as load_studies,
)
from .study_status import study_status as study_status
from .trajectory_bands import run_bands as run_bands
from .unseen_agents import run_unseen as run_unseen, unseen_fits as unseen_fits
