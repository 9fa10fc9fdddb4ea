"""Posts what a pull request would change as one comment, or updates it: `comment.py NAME FILE`, for comment.yml.

The file was made by the pull request's own code and is data: nothing of it is run, nobody is called by it, and it
becomes a comment and nothing else. What it says is that code's word: of a fork, the comment says so. Needs the GitHub
CLI with a token, and in the environment GH_REPO, the pull request's NUMBER, and IS_FORK, `true` or `false`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

# https://docs.github.com/rest/issues/comments: a body has at most 65,536 characters
LONGEST = 60_000
FENCE = "`" * 6
FORK = "> Made by this fork's own code: look at its changes below `hourbank/` yourself."


def body(name: str, text: str, fork: bool = False) -> str:
    """The comment: Markdown as it is, other text in a fence that it cannot leave; a fork's word is called that."""
    # a mention would call people; an older fence could end the one around it
    text = text.removeprefix(marker(name)).lstrip("\n").replace("@", "@\u200b")
    if len(text) > LONGEST:
        whole, _, _ = text[:LONGEST].rpartition("\n")
        text = f"{whole or text[:LONGEST]}\n\n(cut here: the workflow's artifact has all of it)"
    if not name.startswith("plan"):
        text = f"### {name}\n\n{FENCE}text\n{text.replace(FENCE, '')}\n{FENCE}"
    return "\n".join([marker(name), *([FORK, ""] if fork else []), text])


def marker(name: str) -> str:
    """The first line of the comment, by which the next run finds it."""
    return f"<!-- hourbank {name} -->"


def gh(*arguments: str, given: object = None) -> str:
    """What `gh api` answers; `given` is what it sends."""
    sent = [] if given is None else ["--input", "-"]
    done = subprocess.run(
        ["gh", "api", *arguments, *sent], input=json.dumps(given), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"comment: gh api {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout


def post(name: str, text: str) -> None:
    """Post the comment, or put the new text in place of the old."""
    issues = f"repos/{os.environ['GH_REPO']}/issues"
    found = gh("--paginate", "--jq", ".[]", f"{issues}/{int(os.environ['NUMBER'])}/comments")
    own = [
        comment["id"]
        for comment in map(json.loads, found.splitlines())
        if comment["user"]["login"] == "github-actions[bot]" and comment["body"].startswith(marker(name))
    ]
    comment = {"body": body(name, text, fork=os.environ["IS_FORK"] == "true")}
    if own:
        gh("--method", "PATCH", f"{issues}/comments/{own[0]}", given=comment)
    else:
        gh("--method", "POST", f"{issues}/{int(os.environ['NUMBER'])}/comments", given=comment)


def main() -> None:
    """Post one file; one that is not there, or is no file, is left out."""
    name, path = sys.argv[1], Path(sys.argv[2])
    if path.is_symlink() or not path.is_file():
        print(f"comment: {name} has no text")
        return
    post(name, path.read_text(encoding="utf-8", errors="replace"))


if __name__ == "__main__":
    main()
