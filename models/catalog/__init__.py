"""Recipes of the shipped models: take the network, convert it where needed, write a package."""

from models.catalog.recipe import Recipe
from models.catalog.shipped import install, recipes

__all__ = ["Recipe", "install", "recipes"]
