"""Whether a person looks on while a notebook runs."""

from IPython import get_ipython


def someone_looks_on() -> bool:
    """Whether the present cell was run in a front end, such as JupyterLab or VS Code.

    These name the cell in the request that runs it (``cellId`` in its metadata, which IPython
    knows as ``cell_id``). Papermill, nbclient and nbval don't, even in a shell of JupyterLab.
    """
    shell = get_ipython()
    request = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return "cellId" in request.get("metadata", {})
