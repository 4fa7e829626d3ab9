"""A real notebook whose own function is swept: the promise as a user meets it."""

import os
import subprocess
import sys
import textwrap

import pytest

CELLS = [
    "import numpy as np\nimport pandas as pd\n\nfrom ncbook.runs import sweep",
    "def double(x):\n    return 2 * x",
    """
    def mine(*, size, seed, device):
        "Its own words."
        from ncbook.seeds import child_seed

        return pd.DataFrame({"value": [double(v) for v in np.arange(size)], "child": child_seed(seed, "x") % 1000})
    """,
    """
    grid = [{"size": 3, "seed": seed} for seed in range(2)]
    table = sweep(mine, grid, jobs=1)
    assert table.value.tolist() == [0, 2, 4] * 2
    assert table.columns.tolist() == ["size", "seed", "value", "child"]
    """,
    "def double(x):\n    return 3 * x",
    """
    assert sweep(mine, grid, jobs=1).value.tolist() == [0, 3, 6] * 2  # a helper typed again: computed again
    """,
    "factor = 5\ndef hidden(*, seed, device):\n    return pd.DataFrame({'value': [factor * v for v in range(seed)]})",
    """
    from ncbook.errors import InputError

    try:
        sweep(hidden, [{"seed": 2}], jobs=1)
    except InputError as error:
        assert str(error) == "hidden reads the notebook's variable 'factor', which no run key sees; pass it as a parameter.", error
    else:
        raise AssertionError("a hidden variable went unnoticed")
    """,
]


@pytest.mark.slow
def test_a_function_typed_in_a_notebook(home):
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("papermill")
    cells = [nbformat.v4.new_code_cell(textwrap.dedent(text).strip()) for text in CELLS]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), home / "mine.ipynb")
    command = [sys.executable, "-m", "papermill", "-k", "python3", "--no-progress-bar", str(home / "mine.ipynb"), str(home / "out.ipynb")]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (home / "data" / "runs").iterdir()) == ["__main__.mine"]
    text = (home / "out.ipynb").read_text()
    assert "Warning" not in text
