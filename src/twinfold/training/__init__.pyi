from .run_directory import load_run as load_run, save_run as save_run
