import os

import click


@click.command("build")
@click.option("--app", help="Build the assets of one app")
@click.option("--apps", help="Build the assets of these apps, separated by commas")
@click.option("--production", is_flag=True, help="Minify")
@click.option("--force", is_flag=True, help="Build the assets instead of downloading them")
@click.option("--hard-link", is_flag=True, hidden=True)
@click.option("--verbose", is_flag=True, hidden=True)
def build(app, apps, production, force, hard_link, verbose):
    """Compile the JS and CSS of the apps."""
    from frappe.build import build_assets

    apps = apps or app
    if not (force or apps or os.environ.get("CI")):
        # In this case the real framework downloads unpinned assets instead of building
        # them, which must not happen when an image is built.
        raise click.ClickException("failed to build assets: downloading prebuilt ones is not supported; set CI=1 or pass --force")
    build_assets(apps.split(",") if apps else None, production)


commands = [build]
