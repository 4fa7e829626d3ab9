"""The same quantities as other tools give them: `convert` turns a row of our table into another tool's numbers.

Each conversion is tested by running the published formula, written out anew, on the same features
(``tests/metrics/test_metrics_conventions.py``). Balanced classes are assumed where a tool weights means and covariances differently.
"""

from collections.abc import Callable, Mapping

from ncbook.errors import InputError, unknown

# tool -> its name for the quantity -> (what it is, from a row of `collapse_table` and the number of classes)
CONVENTIONS: dict[str, dict[str, tuple[str, Callable[[Mapping, int], float]]]] = {
    "papyan notebook": {
        "nc1": ("Tr(Sigma_W Sigma_B^+), not divided by C", lambda row, c: c * row["nc1"]),
        "nc2_norm_means": ("std / mean of |mu_c - mu_G|, ddof 1", lambda row, c: row["nc2_equinorm"]),
        "nc2_cos_means": ("mean of |cos + 1/(C-1)| over ordered pairs", lambda row, c: row["nc2_max_angle"]),
        "nc3": ("|W/|W| - M/|M||_F^2", lambda row, c: row["nc3_self_duality"]),
        "nc4": ("share whose nearest mean is not the decision", lambda row, c: row["nc4_ncc_mismatch"]),
    },
    "papyan paper": {
        "nc1": ("Tr(Sigma_W Sigma_B^+) / C", lambda row, c: row["nc1"]),
        "nc3": ("|W/|W| - M/|M||_F, not squared", lambda row, c: row["nc3_self_duality"] ** 0.5),
    },
    "zhu": {
        "nc1": ("Tr(Sigma_W Sigma_B^+) / C", lambda row, c: row["nc1"]),
    },
    "he su": {
        "separation": ("Tr(SS_W SS_B^+)", lambda row, c: row["he_su_separation"]),
    },
    "rhubarbwu": {
        "covariance_ratio pinv": ("Tr(Sigma_W Sigma_B^+) / C", lambda row, c: row["nc1"]),
        "covariance_ratio quotient": ("Tr Sigma_W / Tr Sigma_B", lambda row, c: row["variance_ratio"]),
        "variability_cdnv": ("mean over pairs of (Var_i + Var_j) / (2 d_ij^2)", lambda row, c: row["cdnv"]),
        "clf_ncc_agreement": ("share whose nearest mean is the decision (ours with the bias)", lambda row, c: 1 - row["nc4_ncc_mismatch"]),
    },
    "nc-toolbox": {
        "nc1_strong": ("Tr(Sigma_W Sigma_B^+) / C", lambda row, c: row["nc1"]),
        "nc1_weak": ("Tr Sigma_W / (Tr Sigma_W + Tr Sigma_B)", lambda row, c: row["variance_ratio"] / (1 + row["variance_ratio"])),
        "nc1_cdnv": ("mean over pairs of (Var_i + Var_j) / (2 d_ij^2)", lambda row, c: row["cdnv"]),
        "nc4_classifier_agreement": ("share whose nearest mean is the decision", lambda row, c: 1 - row["nc4_ncc_mismatch"]),
    },
}


def convert(row: Mapping, tool: str, *, num_classes: int) -> dict[str, float]:
    """The numbers that another tool would give for a row of `collapse_table`, under its names.

    Raises `InputError` for a tool that is not known and a row that lacks a column.

    >>> convert({"nc1": 0.5, "nc3_self_duality": 0.25}, "papyan paper", num_classes=10)
    {'nc1': 0.5, 'nc3': 0.5}
    """
    if tool not in CONVENTIONS:
        raise unknown("tool", tool, CONVENTIONS)
    try:
        return {name: float(value(row, num_classes)) for name, (_, value) in CONVENTIONS[tool].items()}
    except KeyError as missing:
        raise InputError(f"the row has no {missing}, which {tool!r} needs: give one of collapse_table or measure") from None
