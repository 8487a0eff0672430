"""Vega's script for the pages."""

from functools import cache
from importlib import resources


@cache
def vega_script() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that defines `window.vegaEmbed`; 0.9 MB, made in a second.

    What vl-convert bundles declares names such as `t` and `S` at the top, so that any other script with one of these
    would not run: it gets a function around it. Their licences ask to stand in every copy.
    """
    import vl_convert

    licence = resources.files("harness.report").joinpath("assets", "vega-licence.txt").read_text(encoding="utf-8")
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return f"{licence}(() => {{\n{bundle}\n}})();\n"
