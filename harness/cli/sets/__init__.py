"""The commands `harness set ...`: making evaluation sets, and looking at them."""

import typer

from harness.cli.sets import building, heads, looking, official

app = typer.Typer(name="set", help="Make evaluation sets, check them, look at them.", no_args_is_help=True)
for _module in (building, official, heads, looking):
    _module.register(app)
