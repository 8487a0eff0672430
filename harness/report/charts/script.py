"""Vega's script for the pages."""

from functools import cache

LICENCE = """\
/*! Vega %s, Vega-Lite and Vega-Embed: Copyright (c) 2015-2025, University of Washington Interactive Data Lab.
    BSD 3-Clause License, https://github.com/vega/vega/blob/main/LICENSE. With parts of D3, Copyright 2010-2025 Mike
    Bostock, ISC License, https://github.com/d3/d3/blob/main/LICENSE. */
"""


@cache
def vega_script() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that defines `window.vegaEmbed`; 0.9 MB, made in a second.

    What vl-convert bundles declares names such as `t` and `S` at the top, so that any other script with one of these
    would not run: it gets a function around it.
    """
    import vl_convert

    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return f"{LICENCE % vl_convert.get_vega_version()}(() => {{\n{bundle}\n}})();\n"
