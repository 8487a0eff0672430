"""Base classes for systems built on PyTorch: what every one of them would write again.

    from harness.systems.torch import TorchSeparator, load_checkpoint

A subclass implements `load_model` and `separate_tensor` (or `enhance_tensor`); the base class chooses the device, puts
the model into evaluation mode, resamples to the model's rate, switches gradients off, counts the parameters, hashes
the state, and turns what usually goes wrong into one line: no such device, no checkpoint, one that does not fit, no
memory left.

PyTorch takes seconds to import, so every function imports it for itself: listing the systems stays fast.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from harness.challenge import STEMS, Gains
from harness.enhancement import Signal
from harness.errors import HarnessError, SystemFailure, WeightsMissing
from harness.hearing import Listener
from harness.systems.base import Enhancer, Separator, System
from harness.systems.checkpoints import count_parameters, load_checkpoint, one_line, shape_of, state_sha256
from harness.systems.options import Option
from harness.systems.streaming import StreamingSeparator

__all__ = [
    "BLEND",
    "DEVICE",
    "OUT_OF_MEMORY",
    "TorchBatchSeparator",
    "TorchEnhancer",
    "TorchSeparator",
    "TorchStreamingSeparator",
    "blended",
    "choose_device",
    "count_parameters",
    "is_out_of_memory",
    "load_checkpoint",
    "one_line",
    "state_sha256",
]

DEVICE = Option("device", str, "auto", "where to compute: auto (cuda, else mps, else cpu) or a torch device")

BLEND = Option(
    "blend",
    float,
    None,
    "share of the plain mixture in each stem: more has fewer artefacts, less separates further (by default 0)",
    minimum=0.0,
    maximum=1.0,
)

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""What backends say in lower case when memory runs out; each has its own way."""


# ---- device ---------------------------------------------------------------------------------------------


def choose_device(name: str) -> Any:
    """The torch device of that name, "auto" being the fastest that is here.

    Raises:
        SystemFailure: there is no such device.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it holds no numbers")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SystemFailure(
            f"option device={name}: not usable here ({one_line(error)}); use device=auto or device=cpu"
        ) from error
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY)


# ---- the systems ----------------------------------------------------------------------------------------


class _TorchSystem(System):
    """What a separator and an enhancer share: `load_model` to implement, the model and its device to use."""

    model_rate: float = 44100
    """Sample rate of the model in Hz; set it in the class, or in `load_model` if it depends on the checkpoint."""

    more_memory: str = "use --option device=cpu"
    """What a user can do when memory runs out."""

    shared_options: ClassVar[tuple[Option, ...]] = (DEVICE,)
    """What every such system can be told, beside the options that it declares itself."""

    moves_itself: ClassVar[bool] = False
    """True if the system moves the model to `self.device` where it needs it; `load` then leaves it where it is."""

    model: Any = None
    """The loaded torch.nn.Module, in evaluation mode; None before `load`."""

    device: Any = None
    """The torch.device chosen by `--option device=`; None before `load`."""

    _sha256: str = ""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        # A class that lists options of its own would lose these. What is no list is discovery's to refuse.
        if isinstance(cls.options, (list, tuple)):
            named = {getattr(option, "name", None) for option in cls.options}
            cls.options = (*cls.options, *(option for option in cls.shared_options if option.name not in named))

    @abstractmethod
    def load_model(self) -> Any:
        """Build the network and fill it with its weights; `load_checkpoint(network, path)` does the second.

        Returns:
            A torch.nn.Module, on the CPU: it is moved to the device and put into evaluation mode afterwards.

        Raises:
            WeightsMissing: weights are not here; the message says what to fetch, from where, where to put it.
        """

    def load(self) -> None:
        """Load the model and get it ready.

        Raises:
            SystemFailure: the device cannot be used, the model is no torch.nn.Module, it does not fit its checkpoint,
                or there is not enough memory for it.
            WeightsMissing: a file that `load_model` opens is not here.
        """
        import torch

        self.device = choose_device(self.settings[DEVICE.name])
        self.model, self._sha256 = None, ""
        try:
            model = self.load_model()
            if not isinstance(model, torch.nn.Module):
                raise SystemFailure(
                    f"{self.name}: load_model() returned {_described(model)}, expected a torch.nn.Module"
                )
            model.eval()
            model.requires_grad_(False)
            self.model = model if self.moves_itself else model.to(self.device)
        except HarnessError:
            raise
        except FileNotFoundError as error:
            raise WeightsMissing(f"{self.name}: no such file: {error.filename or error}") from error
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise self._out_of_memory() from error
            raise SystemFailure(f"{self.name}: the model cannot be loaded ({one_line(error)})") from error

    @property
    def parameters(self) -> int:
        """Number of learned parameters; 0 until the model is loaded."""
        return count_parameters(self.model) if self.model is not None else 0

    def description(self) -> str:
        """What decides the output besides the tensors of the state dict; it is hashed with them."""
        return ""

    def weights_sha256(self) -> str:
        """SHA-256 of the loaded weights and of `description()`; "" until the model is loaded.

        A system's identity covers more, namely the files that `load_model` reads, unless a subclass overrides this.
        """
        if not self._sha256 and self.model is not None:
            self._sha256 = state_sha256(self.model.state_dict(), self.description())
        return self._sha256

    def _require_loaded(self, method: str) -> None:
        if self.model is None:
            raise SystemFailure(f"{self.name}: load() must be called before {method}()")

    def _out_of_memory(self) -> SystemFailure:
        return SystemFailure(f"{self.name}: out of memory on {self.device}; {self.more_memory}")

    def _compute(self, function: Any, *arguments: Any) -> Any:
        """Call a function without gradients; say what can be done if memory runs out."""
        import torch

        try:
            with torch.no_grad():
                return function(*arguments)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise self._out_of_memory() from error

    def _tensor(self, signal: Signal) -> Any:
        """A signal (samples, 2) as a float32 tensor (1, 2, samples) on the device."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(signal.T, dtype=np.float32)).to(self.device)[None]

    def _array(self, result: Any, shape: tuple[int, ...], method: str) -> Any:
        """The only one of a batch of results as a float64 array, after a look at its shape."""
        return self._arrays(result, shape, method)[0]

    def _arrays(self, result: Any, shape: tuple[int, ...], method: str) -> Any:
        """A batch of results as a float64 array, after a look at its shape."""
        import torch

        if not isinstance(result, torch.Tensor):
            raise SystemFailure(f"{self.name}: {method}() returned {_described(result)}, expected a tensor {shape}")
        if shape_of(result) != shape:
            raise SystemFailure(f"{self.name}: {method}() returned a tensor {shape_of(result)}, expected {shape}")
        # In double precision only here: not every device has it.
        return result.detach().cpu().double().numpy()


class TorchSeparator(_TorchSystem, Separator):
    """A separator around a torch model: implement `load_model` and `separate_tensor`.

    Attributes:
        model_rate: sample rate of the model in Hz, 44100 unless set: signals are resampled to it and back.
        stem_order: the order in which the model gives the stems.
        more_memory: what a user can do when memory runs out.

    The options `device` and `blend` are added to those that the class declares. A class that declares a `blend` of its
    own does with it what it likes.
    """

    stem_order: Sequence[str] = STEMS
    shared_options = (DEVICE, BLEND)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._blends = BLEND in self.options
        if self._blends and self.settings[BLEND.name] is None:
            # So that the manifest says what was done.
            self.settings[BLEND.name] = self.default_blend

    @property
    def default_blend(self) -> float:
        """The blend that is used if none is asked for; it may depend on the settings."""
        return 0.0

    @abstractmethod
    def separate_tensor(self, model: Any, mixture: Any) -> Any:
        """Separate a mixture. Gradients are off, and the model is in evaluation mode.

        Args:
            model: what `load_model` returned, on the device.
            mixture: tensor (1, 2, samples), float32, full scale +-1, at `model_rate`, on the device.

        Returns:
            Tensor (1, 4, 2, samples): the stems in the order of `stem_order`.
        """

    def estimate(self, mixture: Signal) -> Mapping[str, Signal]:
        """The four stems by name; override it to work on either side of `separate_tensor` in double precision.

        Args:
            mixture: (samples, 2), float64, at `model_rate`.

        Returns:
            For each stem an array of the mixture's shape.
        """
        shape = (1, len(self.stem_order), 2, len(mixture))
        stems = self._array(self.separate_tensor(self.model, self._tensor(mixture)), shape, "separate_tensor")
        return {name: stem.T for name, stem in zip(self.stem_order, stems, strict=True)}

    def separate(self, mixture: Signal, sample_rate: int) -> Mapping[str, Signal]:
        self._require_loaded("separate")
        stems = self._compute(self.estimate, _resampled(mixture, sample_rate, self.model_rate))
        return self._finished(stems, mixture, sample_rate)

    def _finished(self, stems: Mapping[str, Signal], mixture: Signal, sample_rate: int) -> Mapping[str, Signal]:
        """The four stems of a mixture, resampled from the model's rate and blended."""
        lacking = [stem for stem in STEMS if stem not in stems]
        if lacking:
            raise SystemFailure(
                f"{self.name}: no {', '.join(lacking)} among its stems ({', '.join(stems)}), "
                f"expected {', '.join(STEMS)}"
            )
        frames = len(mixture)
        at_rate = {stem: _fitted(_resampled(stems[stem], self.model_rate, sample_rate), frames) for stem in STEMS}
        return blended(at_rate, mixture, self.settings[BLEND.name]) if self._blends else at_rate


class TorchBatchSeparator(TorchSeparator):
    """A `TorchSeparator` whose model takes several pieces of music of one length at once.

    `separate_tensor` is handed (pieces, 2, samples) and returns (pieces, 4, 2, samples); what it returns for a piece
    must not depend on the others (no statistics over the batch). Pieces of different lengths are not padded, since many
    models hear the silence: each length is a batch of its own, and a piece that is alone in its length is separated as
    by `separate`.
    """

    def estimate_many(self, mixtures: Sequence[Signal]) -> Sequence[Mapping[str, Signal]]:
        """As `estimate`, of several pieces of music; who overrides that one overrides this one too.

        Args:
            mixtures: each (samples, 2), float64, at `model_rate`; all of one length.
        """
        import torch

        shape = (len(mixtures), len(self.stem_order), 2, len(mixtures[0]))
        batch = torch.cat([self._tensor(mixture) for mixture in mixtures])
        separated = self._arrays(self.separate_tensor(self.model, batch), shape, "separate_tensor")
        return [{name: stem.T for name, stem in zip(self.stem_order, stems, strict=True)} for stems in separated]

    def separate_many(self, mixtures: Sequence[Signal], sample_rate: int) -> Sequence[Mapping[str, Signal]]:
        """Separate several mixtures at once: see `Separator`.

        Args:
            mixtures: each (samples, 2), float64, full scale +-1; their lengths may differ.
            sample_rate: 44100.

        Returns:
            For each mixture what `separate` returns for it.
        """
        self._require_loaded("separate_many")
        at_rate = [_resampled(mixture, sample_rate, self.model_rate) for mixture in mixtures]
        by_length: dict[int, list[int]] = {}
        for index, mixture in enumerate(at_rate):
            by_length.setdefault(len(mixture), []).append(index)
        found: dict[int, Mapping[str, Signal]] = {}
        for indices in by_length.values():
            alike = [at_rate[index] for index in indices]
            if len(alike) == 1:
                found[indices[0]] = self._compute(self.estimate, alike[0])
            else:
                found.update(zip(indices, self._compute(self.estimate_many, alike), strict=True))
        return [self._finished(found[index], mixture, sample_rate) for index, mixture in enumerate(mixtures)]


class TorchStreamingSeparator(_TorchSystem, StreamingSeparator):
    """A streaming separator around a torch model: implement `load_model`, `prepare` and `process`.

    `self._tensor(block)` is a block as a tensor (1, 2, block), float32, on the device; `self._compute(function, *args)`
    calls a function without gradients and says what can be done if memory runs out. Nothing is resampled: the model's
    rate has to be 44100 Hz.
    """


class TorchEnhancer(_TorchSystem, Enhancer):
    """An enhancer around a torch model: implement `load_model` and `enhance_tensor`.

    A model that leaves the amplification to NAL-R overrides `enhance`:

        def enhance(self, mixture, sample_rate, listener, gains):
            return amplify(super().enhance(mixture, sample_rate, listener, gains), listener)

    The class attributes are those of `TorchSeparator`, without `stem_order`.
    """

    @abstractmethod
    def enhance_tensor(self, model: Any, mixture: Any, listener: Listener, gains: Gains) -> Any:
        """Enhance a mixture for a listener. Gradients are off, and the model is in evaluation mode.

        Args:
            model: what `load_model` returned, on the device.
            mixture: tensor (1, 2, samples), float32, full scale +-1, at `model_rate`, on the device.
            listener: the audiograms of both ears.
            gains: target gain of each stem in dB.

        Returns:
            Tensor (1, 2, samples): the remix, 0 dB FS being 100 dB SPL.
        """

    def enhance(self, mixture: Signal, sample_rate: int, listener: Listener, gains: Gains) -> Signal:
        self._require_loaded("enhance")
        at_rate = _resampled(mixture, sample_rate, self.model_rate)
        result = self._compute(self.enhance_tensor, self.model, self._tensor(at_rate), listener, gains)
        remix = self._array(result, (1, 2, len(at_rate)), "enhance_tensor").T
        return _fitted(_resampled(remix, self.model_rate, sample_rate), len(mixture))


def blended(stems: Mapping[str, Signal], mixture: Signal, blend: float) -> dict[str, Signal]:
    """Stems with their equal share of the mixture in them: what was taken from one stem for another comes back in part.

    Stems that sum to the mixture still do.

    Args:
        stems: by name, each of the mixture's shape.
        mixture: (samples, 2).
        blend: from 0, the stems as they are, to 1, equal parts of the mixture.
    """
    if not blend:
        return dict(stems)
    share = blend / len(stems) * mixture
    return {name: (1.0 - blend) * stem + share for name, stem in stems.items()}


def _described(value: Any) -> str:
    """What came instead of what was expected, with the advice for what is most often forgotten."""
    if value is None:
        return "nothing (is a return missing?)"
    kind = type(value).__name__
    return f"a {kind} (a state dict? load it into a network)" if isinstance(value, Mapping) else f"a {kind}"


def _resampled(signal: Signal, rate: float, new_rate: float) -> Signal:
    if rate == new_rate:
        return signal
    import soxr

    # VHQ: the HQ setting computes in single precision.
    result: Signal = soxr.resample(signal, rate, new_rate, quality="VHQ")
    return result


def _fitted(signal: Signal, frames: int) -> Signal:
    """Cut or pad a signal by the sample or two by which resampling there and back may miss."""
    return np.pad(signal[:frames], ((0, max(0, frames - len(signal))), (0, 0)))
