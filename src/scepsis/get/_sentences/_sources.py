"""Sources that sentences cite, by their key in square brackets."""

from __future__ import annotations

SOURCES = {
    "benjamini1995": "Benjamini and Hochberg (1995) J. R. Stat. Soc. B 57, 289-300",
    "benjamini2001": "Benjamini and Yekutieli (2001) Ann. Stat. 29, 1165-1188",
    "besag1991": "Besag and Clifford (1991) Biometrika 78, 301-304",
    "cameron2011": "Cameron, Gelbach and Miller (2011) J. Bus. Econ. Stat. 29, 238-249",
    "delong1988": "DeLong, DeLong and Clarke-Pearson (1988) Biometrics 44, 837-845",
    "huynhthu2010": "Huynh-Thu, Irrthum, Wehenkel and Geurts (2010) PLoS ONE 5, e12776",
    "kendiukhov2026": "Kendiukhov (2026) arXiv:2602.17532",
    "ledoit2004": "Ledoit and Wolf (2004) J. Multivar. Anal. 88, 365-411",
    "schuirmann1987": "Schuirmann (1987) J. Pharmacokinet. Biopharm. 15, 657-680",
    "theodoris2023": "Theodoris et al. (2023) Nature 618, 616-624",
    "wilcoxon1945": "Wilcoxon (1945) Biometrics Bull. 1, 80-83",
}
SHORT = {key: f"{text.partition(')')[0].replace(' (', ', ')}" for key, text in SOURCES.items()}


def cited(sentences: list[str]) -> str:
    """Sentences with short citations, and the list of the sources that occur."""
    text = " ".join(sentences)
    used = [key for key in SOURCES if f"[{key}]" in text]
    for key in used:
        text = text.replace(f"[{key}]", f"({SHORT[key]})")
    return "\n".join([text, "", "Sources:", *(SOURCES[key] for key in sorted(used))])
