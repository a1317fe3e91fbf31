"""What pyproject.toml can't say: the folder `assets` becomes part of the package, as `vlm_demo/assets`."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["vlm_demo*"]), "vlm_demo.assets"], package_dir={"vlm_demo.assets": "assets"})
