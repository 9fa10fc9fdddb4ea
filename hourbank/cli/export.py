"""`hourbank export`: the program as files that other tools deploy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

commands = typer.Typer(no_args_is_help=True, help="Write what Pulumi would deploy for CloudFormation, SAM or Amplify.")


def place(text: str) -> Path:
    """Return a path; an empty text would be the folder that one is in."""
    if not text:
        raise typer.BadParameter("it is empty")
    return Path(text)


Retain = Annotated[
    bool, typer.Option("--retain", help="Keep every resource when it leaves the stack: before another tool takes over.")
]


@commands.command()
def cloudformation(
    out: Annotated[
        Path, typer.Option(parser=place, metavar="FILE", help="The template; the functions' archive goes beside it.")
    ],
    retain: Retain = False,
) -> None:
    """A template for SAM or CloudFormation, beside any Amplify backend."""
    from hourbank.export import template_yaml

    made = template_yaml.write_template(out, retain=retain)
    typer.echo(f"{out}: {len(made['Resources'])} resources; {out.parent / template_yaml.ARCHIVE}: the functions' code")
    say_left_out(made)


@commands.command()
def amplify(
    into: Annotated[Path, typer.Option(parser=place, metavar="FOLDER", help="The project's amplify/backend folder.")],
    start_requests_from: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="ISO 8601 with offset; older requests are left alone. Asked for once, then kept."
        ),
    ] = None,
    api: Annotated[str | None, typer.Option(metavar="NAME", help="The GraphQL API, where there are several.")] = None,
    change: Annotated[
        bool, typer.Option("--write", help="Also change backend-config.json; without it, that change is only shown.")
    ] = False,
    retain: Retain = False,
    allow_conflict_resolution: Annotated[
        bool,
        typer.Option("--allow-conflict-resolution", help="Take an API of DataStore's all the same."),
    ] = False,
) -> None:
    """A custom resource of an Amplify Gen 1 backend, which `amplify push` deploys."""
    import json

    from hourbank.export import beside, gen1

    backend = gen1.find(into, api)
    lacking = gen1.look(backend, allow_conflict_resolution=allow_conflict_resolution)
    made = gen1.write_into(backend, start_requests_from=start_requests_from, retain=retain)
    typer.echo(f"{backend.folder} is written: {len(made['Resources'])} resources, parameters and the functions' code")
    kept = gen1.read(backend.parameters)["StartRequestsFrom"]
    if start_requests_from not in (None, kept):
        typer.echo(f"{backend.parameters} has StartRequestsFrom {kept}, which stays: change it there")
    typer.echo(f"{backend.hook} is written: it brings the code to the deployment bucket")
    for theirs in backend.own_hooks:
        typer.echo(f"{theirs} is yours: call `node amplify/hooks/{backend.hook.name} ENV` from it")
    say(*lacking, *beside.until_then(kept))
    say_left_out(made)
    if backend.registered:
        return
    entry = json.dumps({"custom": {gen1.RESOURCE: backend.entry}}, indent=2)
    file = into / gen1.CONFIG
    if change:
        gen1.register(backend)
        typer.echo(f"{file} is changed, it has now:\n{entry}")
    else:
        typer.echo(f"{file} is not changed, and needs (--write puts it there):\n{entry}")


@commands.command("amplify-gen2")
def amplify_gen2(
    into: Annotated[Path, typer.Option(parser=place, metavar="FOLDER", help="The project's amplify folder.")],
    retain: Retain = False,
) -> None:
    """A stack of an Amplify Gen 2 backend, which `npx ampx` deploys."""
    from hourbank.export import beside, gen2

    made = gen2.write_into(into, retain=retain)
    typer.echo(f"{into / gen2.FOLDER}: {len(made['Resources'])} resources, and the functions' code")
    if "addWorkflows(" not in (into / "backend.ts").read_text(encoding="utf-8", errors="replace"):
        typer.echo(f"{into / 'backend.ts'} has to call addWorkflows: the first lines of resource.ts show how")
    say(*beside.look_at_gen2(into))
    say_left_out(made)


def say(*remarks: str) -> None:
    """Tell what is not as it should be, and stops nothing."""
    for remark in remarks:
        typer.echo(f"! {remark}")


def say_left_out(template: Mapping[str, Any]) -> None:
    """Tell what of the program is not in a template, and where the reasons are."""
    left_out = ", ".join(template["Metadata"]["HourBank"]["LeftOut"])
    typer.echo(f"left out: {left_out} (why: LeftOut in the template's Metadata)")
