"""Open-Unmix: separation with the `openunmix` package: its published models, one of your own, or the small `demo`.

Sources:
- F.-R. Stöter, S. Uhlich, A. Liutkus and Y. Mitsufuji, "Open-Unmix - A Reference Implementation for Music
  Source Separation", Journal of Open Source Software, 2019 (doi:10.21105/joss.01667).
- https://github.com/sigsep/open-unmix-pytorch: the package; its README says what each model was trained on.
- Weights: `umxhq` doi:10.5281/zenodo.3370489, `umx` doi:10.5281/zenodo.3370486,
  `umxl` doi:10.5281/zenodo.5069601.

Licence of the weights: the README puts the whole package under MIT and singles out `umxl`, whose weights are
"only licensed for non-commercial use (CC BY-NC-SA 4.0)". The demonstration model is ours: checkpoints/umx.
"""

from collections.abc import Callable

from harness.systems import System, hookimpl
from harness_plugins.umx.importing import import_openunmix
from harness_plugins.umx.published import PUBLISHED
from harness_plugins.umx.separator import OpenUnmix

__all__ = ["PUBLISHED", "OpenUnmix", "import_openunmix", "register_systems"]


@hookimpl
def register_systems(register: Callable[[type[System]], None]) -> None:
    register(OpenUnmix)
