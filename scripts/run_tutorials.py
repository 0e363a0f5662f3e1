"""
Run the tutorials and store what they show.

    python scripts/run_tutorials.py       # with SCEPSIS_DATA and SCEPSIS_SLOW=1 the cells on real data run too;
                                          # SCEPSIS_CHECKPOINTS keeps what the third one trains
    python scripts/run_tutorials.py 02    # those whose names begin so

Each runs in a folder of its own, so that nothing but the notebook changes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
#: Pictures go into the notebook, whatever the environment says.
INLINE = "module://matplotlib_inline.backend_inline"


def main() -> None:
    for path in sorted((ROOT / "tutorials").glob(f"{''.join(sys.argv[1:2])}*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            client = NotebookClient(
                notebook,
                timeout=2400,
                resources={"metadata": {"path": folder}},
                extra_arguments=["--InteractiveShell.colors=NoColor"],
            )
            client.execute(env=os.environ | {"SCEPSIS_ROOT": str(ROOT), "MPLBACKEND": INLINE})
        for cell in notebook.cells:
            cell.metadata.clear()
            if cell.cell_type == "code":  # the error stream tells of this machine, not of the tutorial
                cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        notebook.metadata["language_info"] = {"name": "python"}
        nbformat.write(notebook, path)
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
