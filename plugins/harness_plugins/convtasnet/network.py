"""The causal Conv-TasNet of the second Cadenza challenge, block by block: the network of one file, and its stream.

Parameters have the names and the shapes that the recipe `cad2/task1/ConvTasNet` of pyclarity gives them, so that its
files fit. What is computed from them is the same, but for a piece of music in blocks: each layer keeps what it needs
of the past, and nothing is computed twice.

A frame is `length` samples long and half of it after the one before. Each block of music is completed by its last
frames only when half a frame more has come, so the sources lag by half a frame: what the stream returns for x is what
the recipe's network returns for x after half a frame of silence.

References:
    Y. Luo, N. Mesgarani, "Conv-TasNet: Surpassing ideal time-frequency magnitude masking for speech separation",
        IEEE/ACM TASLP 27(8), 2019: the network, cumulative and channel-wise layer normalisation.
    The recipe's `local/tasnet.py` (K. Xu, A. Défossez; MIT): names, shapes, two channels, channel-wise normalisation.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from harness_plugins.convtasnet.configuration import Configuration

EPSILON = 1e-8
"""Added to variances: the recipe's."""


class Network(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The parameters, by the recipe's names. It is not called itself: `Stream` computes with it."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        given = configuration
        self.configuration = given
        self.encoder = _named(conv1d_U=nn.Conv1d(given.audio_channels, given.N, given.L, bias=False))
        blocks = [
            nn.Sequential(*(_block(given.B, given.H, given.P) for _ in range(given.X)))  # dilations 1, 2, 4, ...
            for _ in range(given.R)
        ]
        self.separator = _named(
            network=nn.Sequential(
                _Normalisation(given.N),
                nn.Conv1d(given.N, given.B, 1, bias=False),
                nn.Sequential(*blocks),
                nn.Conv1d(given.B, given.C * given.N, 1, bias=False),
            )
        )
        self.decoder = _named(basis_signals=nn.Linear(given.N, given.audio_channels * given.L, bias=False))


class Stream:
    """Music through a network, block by block.

    Attributes:
        hop: samples from one frame to the next, half a frame; also the samples by which the sources lag.
    """

    def __init__(self, network: Network, frames: int) -> None:
        """
        Args:
            network: on the device on which to compute.
            frames: in each block.
        """
        given = network.configuration
        self.hop = given.hop
        self._frames, self._sources, self._channels = frames, given.C, given.audio_channels
        self._softmax = given.mask_nonlinear == "softmax"
        weight = network.encoder.conv1d_U.weight
        self._encoder = weight.flatten(1)
        first, bottleneck, repeats, self._masks = network.separator.network
        self._normalise = first
        self._bottleneck = bottleneck.weight[:, :, 0]
        self._masks = self._masks.weight[:, :, 0]
        self._blocks = [
            _StreamedBlock(block, 2**index, frames) for repeat in repeats for index, block in enumerate(repeat)
        ]
        self._decoder = network.decoder.basis_signals.weight
        self._heard = weight.new_zeros(given.audio_channels, given.hop)
        self._begun = weight.new_zeros(1, given.C, given.audio_channels, given.hop)

    def process(self, samples: Any) -> Any:
        """Separate the next block.

        Args:
            samples: (channels, frames * hop), float32, on the network's device.

        Returns:
            (sources, channels, frames * hop); a hop behind the samples.
        """
        heard = torch.cat((self._heard, samples), dim=1)
        self._heard = heard[:, -self.hop :]
        pieces = heard.unfold(1, 2 * self.hop, self.hop).transpose(0, 1).reshape(self._frames, -1)
        encoded = functional.relu(functional.linear(pieces, self._encoder))
        features = functional.linear(self._normalise(encoded), self._bottleneck)
        for block in self._blocks:
            features = block.process(features)
        scores = functional.linear(features, self._masks).view(self._frames, self._sources, -1)
        masks = torch.softmax(scores, dim=1) if self._softmax else functional.relu(scores)
        decoded = functional.linear(encoded[:, None] * masks, self._decoder)
        halves = decoded.view(self._frames, self._sources, self._channels, 2, self.hop)
        begun = torch.cat((self._begun, halves[:, :, :, 1]))
        self._begun = begun[-1:]
        return (halves[:, :, :, 0] + begun[:-1]).permute(1, 2, 0, 3).flatten(2)


class _StreamedBlock:
    """A residual block with a dilated convolution over time, which remembers what the convolution reaches back to.

    The frames are kept in a ring, a whole number of blocks long: writing never wraps, and nothing is moved.
    """

    def __init__(self, block: Any, dilation: int, frames: int) -> None:
        widen, first_slope, first_normalise, depthwise = block.net
        convolution, _, second_slope, second_normalise, narrow = depthwise.net
        self._widen, self._narrow = widen.weight[:, :, 0], narrow.weight[:, :, 0].T
        self._first, self._second = (first_slope.weight, first_normalise), (second_slope.weight, second_normalise)
        *earlier, self._now = convolution.weight[:, 0].T.contiguous()
        reach = len(earlier) * dilation
        self._earlier = [(reach - index * dilation, weight) for index, weight in enumerate(earlier)]
        self._ring = self._now.new_zeros((1 + -(-reach // frames)) * frames, len(self._now))
        self._position, self._frames = 0, frames

    def process(self, features: Any) -> Any:
        """(frames, B) -> (frames, B)."""
        slope, normalise = self._first
        wide = normalise(functional.prelu(functional.linear(features, self._widen), slope))
        self._ring[self._position : self._position + self._frames] = wide
        convolved = wide * self._now
        for back, weight in self._earlier:
            convolved.addcmul_(self._since(back), weight)
        self._position = (self._position + self._frames) % len(self._ring)
        slope, normalise = self._second
        return torch.addmm(features, normalise(functional.prelu(convolved, slope)), self._narrow)

    def _since(self, back: int) -> Any:
        """As many frames as a block has, those from `back` frames before its first on."""
        start = (self._position - back) % len(self._ring)
        rest = start + self._frames - len(self._ring)
        if rest <= 0:
            return self._ring[start : start + self._frames]
        return torch.cat((self._ring[start:], self._ring[:rest]))


class _Normalisation(nn.Module):  # type: ignore[misc]
    """Channel-wise layer normalisation: of each frame by itself, so that nothing of the future gets in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, channels, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, frames: Any) -> Any:
        """(frames, channels) -> (frames, channels)."""
        return functional.layer_norm(frames, frames.shape[1:], self.gamma.flatten(), self.beta.flatten(), EPSILON)


def _block(narrow: int, wide: int, kernel: int) -> Any:
    """The parameters of a residual block."""
    depthwise = nn.Sequential(
        nn.Conv1d(wide, wide, kernel, groups=wide, bias=False),
        nn.Identity(),  # the recipe cuts its padding off here
        nn.PReLU(),
        _Normalisation(wide),
        nn.Conv1d(wide, narrow, 1, bias=False),
    )
    parts = (nn.Conv1d(narrow, wide, 1, bias=False), nn.PReLU(), _Normalisation(wide), _named(net=depthwise))
    return _named(net=nn.Sequential(*parts))


def _named(**modules: Any) -> Any:
    """A module that holds others by these names."""
    return nn.ModuleDict(modules)
