"""What guides and labels without a target are called."""

from __future__ import annotations

import re

#: Names of guides and labels without a target, up to the number of the guide.
_NON_TARGETING = re.compile(
    r"""
    (?: sg(?:rna)?[-_ .]* )?
    (?: non[-_ .]*target(?:ing|ed)? | no[-_ .]*target | nt | ntc | nontgt
      | neg(?:ative)?[-_ .]*(?:c(?:on)?tr(?:o)?l|control)? | (?:neg[-_ .]*)?(?:control|ctrl|ctl)
      | scramble(?:d)? | safe[-_ .]*(?:targeting|target|harbou?r|cutter)? | intergenic
      | aavs1 | luciferase | lacz | e?gfp
    )
    (?: [-_ .]* (?:(?:sg(?:rna)?|g(?:rna)?|guide|ctrl|control)[-_ .]*)? \d+ )* (?: [-_ .|:].* )?
    """,
    re.IGNORECASE | re.VERBOSE,
)


def names_no_target(name: str) -> bool:
    """Whether a guide or a label of this name has no target; a gene may be called so too."""
    return _NON_TARGETING.fullmatch(name) is not None
