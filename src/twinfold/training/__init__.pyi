from .run_directory import load_run as load_run
from .run_writer import save_run as save_run
