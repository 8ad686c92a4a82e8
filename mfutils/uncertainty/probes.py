"""What a descriptor still says about the origin of a sample, by linear probes.

A logistic regression learns to tell two domains apart from descriptors and is scored on groups
that it has not seen, by the area under the ROC curve: the probability that a sample of the
second domain gets the higher score, 0.5 for a descriptor that knows nothing, 1 for one that
tells all. A ridge regression asks in the same way how much of a number is left, by R^2. A linear
probe gives a lower bound: what it does not find may still be there.
"""

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mfutils.errors import InputError

__all__ = ["domain_auc", "explained"]

_RIDGE = np.logspace(-2, 4, 13)  # penalties to choose from, on standardised descriptors


def domain_auc(
    descriptors: npt.ArrayLike,
    domain: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    folds: int = 5,
    penalty: float = 1.0,
    seed: int = 0,
) -> float:
    """ROC area (mean over folds) of a logistic probe of domain (n,) bool from (n, d).

    Rows of one group (n,) are learnt from or scored, never both. penalty is the weight of the
    squared coefficients on standardised descriptors. Raises InputError as `explained` does, and
    when a fold has one domain only.
    """
    domain = np.asarray(domain, dtype=bool)
    x, splits = _checked(descriptors, domain, groups, folds, seed)
    model = LogisticRegression(C=1.0 / penalty, class_weight="balanced", max_iter=1000)
    areas = []
    for train, test in splits:
        if len(np.unique(domain[train])) < 2 or len(np.unique(domain[test])) < 2:
            raise InputError("a fold learns from or tests one domain only; use fewer folds")
        fitted = make_pipeline(StandardScaler(), model).fit(x[train], domain[train])
        areas.append(roc_auc_score(domain[test], fitted.decision_function(x[test])))
    return float(np.mean(areas))


def explained(
    descriptors: npt.ArrayLike,
    target: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    folds: int = 5,
    seed: int = 0,
) -> float:
    """R^2 on unseen groups of a ridge probe of target (n,) from descriptors (n, d).

    Raises InputError for unequal lengths, values that are not finite, or too few groups.
    """
    target = np.asarray(target, dtype=float)
    x, splits = _checked(descriptors, target, groups, folds, seed)
    predicted = np.empty(len(target))
    for train, test in splits:
        fitted = make_pipeline(StandardScaler(), RidgeCV(_RIDGE)).fit(x[train], target[train])
        predicted[test] = fitted.predict(x[test])
    return float(1 - np.mean((predicted - target) ** 2) / np.var(target))


def _checked(descriptors, target, groups, folds, seed):
    x, groups = np.asarray(descriptors, dtype=float), np.asarray(groups)
    if x.ndim != 2 or target.shape != (len(x),) or groups.shape != (len(x),):
        raise InputError(
            f"descriptors, target and groups have shapes {x.shape}, {target.shape} and "
            f"{groups.shape}; expected (n, d), (n,) and (n,)"
        )
    if not (np.isfinite(x).all() and np.isfinite(target).all()):
        raise InputError("a descriptor or target is NaN or infinite; leave these rows out")
    count = len(np.unique(groups))
    if not 2 <= folds <= count:
        raise InputError(f"folds is {folds!r}; expected 2 to {count}, the number of groups")
    kfold = GroupKFold(folds, shuffle=True, random_state=seed)
    return x, list(kfold.split(x, groups=groups))
