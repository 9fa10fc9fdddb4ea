"""Physical names are fixed, so an account and region have room for one deployment of each environment."""

import pulumi
import pulumi_aws as aws

from components.settings import Settings


def refuse_taken(settings: Settings) -> None:
    """Look at the first role that this stack would make.

    AWS refuses a second role of one name, but only in the middle of a deployment, and takes a second queue or alarm of
    one name for the first.

    Raises
    ------
    pulumi.RunError
        One line: another stack, or another tool, has it.
    """
    name = settings.role_name("ServiceRequestWorkflow")
    try:
        tags = aws.iam.get_role(name=name).tags
    except Exception:  # noqa: BLE001 the SDK raises just that; there is no such role, or who deploys may not look at it
        return
    owner = (tags or {}).get("Stack") or "something else than this project"
    if owner != settings.stack:
        raise pulumi.RunError(
            f"stack {settings.stack}: the role {name} belongs to {owner}: an account has room for one deployment of "
            f"{settings.env} in {settings.region}: remove that one, choose another stack name, region or account, or "
            "take over what a template of ours made (docs/operate/migrate.md)"
        )
