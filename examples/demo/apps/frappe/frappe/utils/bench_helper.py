"""The module that bench runs in sites/ to call the framework."""

import importlib
import json

import click

import frappe


def app_commands():
    """Returns the commands of all apps by name. An app does not need to have any."""
    commands = {}
    for app in frappe.get_all_apps():
        try:
            module = importlib.import_module(f"{app}.commands")
        except ModuleNotFoundError:
            continue
        commands.update({command.name: command for command in module.commands})
    return commands


@click.command("get-frappe-commands")
def get_frappe_commands():
    print(json.dumps(list(app_commands())))


@click.command("get-frappe-help")
def get_frappe_help():
    group = click.Group("frappe", commands=app_commands())
    print(group.get_help(click.Context(group)))


def main():
    framework = click.Group("frappe", commands=app_commands())
    click.Group(commands=[framework, get_frappe_commands, get_frappe_help])(prog_name="bench")


if __name__ == "__main__":
    main()
