from .html import write_page as write_page
from .static_figures import save_rollout as save_rollout
from .validation_page import write_validation as write_validation
