from .collect import provenance as provenance
from .comparison import Entry as Entry, summarise as summarise
from .policy_return import evaluate_policy as evaluate_policy
from .protocol import (
    Predictions as Predictions,
    evaluate_prediction as evaluate_prediction,
    evaluate_return as evaluate_return,
    evaluate_true as evaluate_true,
    predict as predict,
    true_covariates as true_covariates,
)
from .records import read_records as read_records
from .runner import run_suite as run_suite
from .suite import Suite as Suite, load_suite as load_suite
