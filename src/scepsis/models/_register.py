from __future__ import annotations

from typing import TYPE_CHECKING

from scepsis.models._families import FAMILIES, Family

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scepsis.models._protocol import AttentionModel


def register(family: str, *, recognizes: Callable[[Path], bool], load: Callable[..., AttentionModel]) -> None:
    """
    Make checkpoints of another family readable by :func:`scepsis.models.load`.

    The families of the package are entries of the same table. :doc:`/add_a_model_family` shows a whole one.

    Parameters
    ----------
    family
        Name of the family, an identifier: embeddings go to ``obsm["X_<family>"]``, and edges record it.
    recognizes
        Whether a folder is a checkpoint of this family, from its files alone; it is asked about every folder that
        is loaded and should read as little as it can.
    load
        Reads a folder: ``load(folder, name=..., **options)`` gives an :class:`~scepsis.models.AttentionModel` whose
        ``family`` is `family`. `options` are those arguments of :func:`scepsis.models.load` that were given; one
        that the function does not name is refused before it is called.

    Returns
    -------
    Nothing. The family is known from here on, in this process.

    Raises
    ------
    ValueError
        The name is no identifier, or taken.

    Examples
    --------
    >>> import scepsis as sps
    >>> def recognizes(folder):
    ...     return (folder / "my_weights.pt").is_file()
    >>> def load(folder, *, name, device=None):
    ...     return MyModel(folder, name, device)
    >>> sps.models.register("mine", recognizes=recognizes, load=load)
    """
    if not family.isidentifier():
        msg = f"`family={family!r}` is no identifier; slots such as `obsm['X_<family>']` are named after it."
        raise ValueError(msg)
    entry = Family(recognizes, lambda: load)
    if FAMILIES.setdefault(family, entry) is not entry:
        msg = f"There is a family {family!r} already (known: {', '.join(map(repr, FAMILIES))}). Choose another name."
        raise ValueError(msg)
