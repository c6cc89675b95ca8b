"""A notebook shows results: tables as HTML, figures by Plotly's own renderer, and nothing from the network."""

from __future__ import annotations

import sys
from pathlib import Path

import ipykernel  # noqa: F401
import IPython  # noqa: F401
import nbformat
import pytest
from nbclient import NotebookClient

import ri_analysis as ri
from ri_analysis.api.progress import _in_notebook

pytestmark = pytest.mark.filterwarnings("ignore::ri_analysis.api.Remark")


@pytest.mark.long
def test_a_notebook_shows_tables_and_figures(tiny: Path, workspace: Path):
    place = f"ri.open_suite({str(tiny)!r}, workspace={str(workspace)!r}, device='cpu')"
    cells = [
        "import warnings; warnings.simplefilter('ignore')",
        f"import ri_analysis as ri; suite = {place}",
        "suite.measure('ties', experts='ri')",
        "suite.interference('ties', after='ri', only=['accuracy', 'drift'])",
        "from ri_analysis.api.progress import _in_notebook; _in_notebook()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    shown = [[set(each["data"]) for each in cell["outputs"] if "data" in each] for cell in notebook["cells"]]
    answers = ri.open_suite(tiny, workspace=workspace, device="cpu").interference(
        "ties", after="ri", only=["accuracy", "drift"]
    )
    for outputs, figures in ((shown[2], 1), (shown[3], sum(len(each.charts) for each in answers.values()))):
        assert "text/html" in outputs[0]
        assert sum("application/vnd.plotly.v1+json" in kinds for kinds in outputs) == figures
    assert notebook["cells"][4]["outputs"][0]["data"]["text/plain"] == "True"
    said = "".join(str(each) for cell in notebook["cells"] for each in cell["outputs"])
    assert "<table" in said
    assert "https://cdn" not in said


def test_a_process_that_only_imports_ipython_is_no_notebook() -> None:
    assert {"IPython", "ipykernel"} <= sys.modules.keys()  # as a library might
    assert not _in_notebook()
