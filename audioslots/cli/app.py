"""The command line: one command per stage, each a thin call. Commands import what they need, so each starts quickly."""

from __future__ import annotations

import sys
from typing import Annotated, Any, NoReturn

import typer
from typer import Option, Typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from audioslots import __version__
from audioslots.cli.aliases import replace_old_names
from audioslots.cli.data import data
from audioslots.cli.maintain import maintain
from audioslots.cli.report import report
from audioslots.cli.train import train
from audioslots.cli.use import use
from audioslots.runtime.errors import InputError, Interrupted
from audioslots.runtime.stage import Options, using

PANELS = {
    "Use a model": use,
    "Make data": data,
    "Train": train,
    "Report": report,
    "Maintain": maintain,
}
RUN_AGAIN = 75  # EX_TEMPFAIL


class PanelledGroup(TyperGroup):
    """Commands that the help lists by panel."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section per panel."""
        width = max(map(len, self.commands))
        for panel in PANELS:
            with formatter.section(panel):
                formatter.write_dl(
                    [
                        (name.ljust(width), command.get_short_help_str(formatter.width - width - 6))
                        for name, command in self.commands.items()
                        if getattr(command, "rich_help_panel", None) == panel
                    ]
                )


app = Typer(cls=PanelledGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
for title, commands in PANELS.items():
    members: list[Any] = [*commands.registered_commands, *commands.registered_groups]
    for member in members:
        member.rich_help_panel = title
    app.add_typer(commands)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"audioslots {__version__}")
        raise typer.Exit


@app.callback()
def set_options(
    context: typer.Context,
    wait: Annotated[
        bool, Option("--wait", help="Wait for another process in the same folder, instead of failing.")
    ] = False,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace results of another request or other code.")] = False,
    version: Annotated[
        bool, Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Separate audio sources with slot-centric models, and train, score and compare such models reproducibly."""
    context.with_resource(using(Options(wait, overwrite)))


def main() -> None:
    """Run the command line: bad input ends with one line and exit status 2, never a traceback."""
    try:
        arguments = replace_old_names(sys.argv[1:])
        code = typer.main.get_command(app).main(arguments, prog_name="audioslots", standalone_mode=False)
    except InputError as error:
        _end(str(error), 2)
    except OSError as error:  # of any file system: a full or read-only disk, a name too long, a limit
        place = f"{error.filename}: " if error.filename else ""
        _end(f"{place}{error.strerror}; expected a place with room that can be written", 2)
    except Interrupted as error:
        _end(str(error), RUN_AGAIN)
    except (KeyboardInterrupt, typer.Abort):
        _end("interrupted", 130)
    except TyperException as error:
        if message := getattr(error, "format_message", str)():
            _end(f"{message} (see --help)", 2)
        sys.exit(2)  # no arguments: the help was printed
    sys.exit(code if isinstance(code, int) else 0)


def _end(message: str, code: int) -> NoReturn:
    print(f"audioslots: {message}", file=sys.stderr)
    sys.exit(code)
