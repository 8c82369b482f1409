"""Whether a checkpoint belongs to the run that resumes it, and what of its settings holds on."""

from typing import Any

from snf_lite.flow import Flow
from snf_lite.training import checkpoints
from snf_lite.training.history import History
from snf_lite.training.settings import TrainingConfig, completed

#: Settings that do not decide a step, or may change on resuming.
FREE = ("compile", "cuda_graph", "processes", "epochs", "decay_epochs", "patience")
#: Number of differences that a message names.
SHOWN = 3


def other_run(stored: dict[str, Any], flow: Flow, history: History, trained: list[str]) -> str:
    """How the run in a checkpoint differs from the one that is to resume it; empty if it does not.

    Args:
        stored: Content of the checkpoint.
        flow: Flow of this run.
        history: Its history, of which the settings count.
        trained: Names of the parameters that it trains, in the order of its optimizer.
    """
    state, here = stored["training"], history.settings
    there = state["history"]["settings"]
    found = architecture_differences(stored["architecture"], checkpoints.architecture(flow))
    found += checkpoints.differences(_comparable(there), _comparable(here))
    if not found:
        found = trained_differences(state, flow, trained)
    elif there["validation"]["split"].startswith("train["):  # of versions that held out the end of the data
        n = there["data"]["count"]
        found.append(f"it held out the end of the data, and resumes with data[:{n}] and validation=data[{n}:]")
    rest = len(found) - SHOWN
    return "; ".join([*found[:SHOWN], f"and {rest} more"] if rest > 1 else found)


def decay_epochs(history: History, config: TrainingConfig) -> int | None:
    """``decay_epochs`` of a resumed run: as asked, else those of its first call; None where they are its epochs."""
    if config.decay == "constant" or config.decay_epochs is not None:
        return config.decay_epochs
    settings = completed(history.settings)
    horizon: int = settings["decay_epochs"] or settings["epochs"]
    return None if horizon == config.epochs else horizon


def trained_differences(state: dict[str, Any], flow: Flow, here: list[str]) -> list[str]:
    """A phrase if other parameters were trained there than here; of runs of earlier versions their sizes count."""
    there = state.get("trained")
    if there is None:
        moments = state["optimizer"]["state"]
        count = len(state["optimizer"]["param_groups"][0]["params"])
        own = dict(flow.named_parameters())
        sizes = {key: own[name].numel() for key, name in enumerate(here)}
        if count == len(here) and all(moment["exp_avg"].numel() == sizes[key] for key, moment in moments.items()):
            return []
        got = f"{count} in the checkpoint, {len(here)} here, or of other sizes"
        return [f"other parameters are trained: {got} (frozen layers)"]
    if there == here:
        return []
    only = [", ".join(sorted(set(one) - set(other))) or "none" for one, other in ((there, here), (here, there))]
    return [f"other parameters are trained: {only[0]} only in the checkpoint, {only[1]} only here (frozen layers)"]


def _comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that two runs must share: data count by content, not by name, and what is ``FREE`` does not count."""
    contents = {key: settings[key] for key in ("data", "validation")}
    data = {key: f"{c['count']} examples, SHA-256 {c['sha256'][:16]}" for key, c in contents.items()}
    for key, content in contents.items():
        data |= {f"{extra} of {key}": content.get(f"{extra}_sha256", "none")[:16] for extra in ("context", "weights")}
    given = completed({"loss": "Flow.loss", "optimizer": "Adam", "scheduler": "none", **settings})
    return {**{key: value for key, value in given.items() if key not in FREE}, **data}


def architecture_differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """A phrase with both values for each layer, shape or dtype in which two architectures differ."""
    return checkpoints.differences(_flat(there), _flat(here))


def _flat(described: dict[str, Any]) -> dict[str, str]:
    layers = {
        f"layers[{index}]": f"{name}({', '.join(f'{key}={value!r}' for key, value in settings.items())})"
        for index, (name, settings) in enumerate(described["layers"])
    }
    base = str(described.get("base", "N(0, I)"))
    return {**layers, "event_shape": str(tuple(described["event_shape"])), "dtype": described["dtype"], "base": base}
