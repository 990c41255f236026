"""The Hugging Face hub: its data sets, by its package `datasets`, and whether it answers at all.

What asks it is imported when something is fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from study.data.download import NotFetched
from study.errors import UsageError

PARTS = {"train": "train", "validation": "valid", "test": "test"}
"""The names of parts in CodeXGLUE's files, by those on the hub."""
CARD = "README.md"
"""A file that every data set of the hub has."""


def hub_rows(*names: str) -> Mapping[str, Iterable[Mapping[str, Any]]]:
    """The rows of a data set of the hub, by the part: train, valid, test.

    names: of the data set, and of its configuration where it has several.

    Raises:
        UsageError: `datasets` is not installed.
        NotFetched: The hub does not answer, or what it has cannot be read.
    """
    try:
        from datasets import load_dataset
    except ImportError as problem:
        raise UsageError(
            "dataset.download=true: takes the package datasets: pip install 'repair-study[hub]'"
        ) from problem
    address = f"https://huggingface.co/datasets/{names[0]}"
    if silence := hub_silence(names[0], CARD, "dataset"):
        raise NotFetched(f"{address} could not be fetched ({silence})")
    try:
        found = load_dataset(*names)
    except Exception as problem:  # of many kinds: network, hub, and files
        reason = " ".join(str(problem).split())
        raise NotFetched(f"{address} could not be fetched ({reason})") from problem
    return {PARTS[part]: rows for part, rows in found.items() if part in PARTS}


def hub_silence(repository: str, file: str, kind: Literal["model", "dataset"] = "model") -> str | None:
    """Why the hub cannot be asked for a file of a repository; None where it answers, whatever it says.

    It is asked once, and has the seconds of its own setting HF_HUB_ETAG_TIMEOUT; its functions that fetch try again for
    half a minute or more. With HF_HUB_OFFLINE set it is not asked, as these functions then ask nobody either.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    if constants.HF_HUB_OFFLINE:
        return None
    try:
        get_hf_file_metadata(hf_hub_url(repository, file, repo_type=kind))
    except HfHubHTTPError:
        return None
    except Exception as problem:  # of its HTTP library, which is another one in each of its versions
        return " ".join(str(problem).split()) or type(problem).__name__
    return None
