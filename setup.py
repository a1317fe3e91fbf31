"""What pyproject.toml can't say: the folder assets goes into the package, where an installation finds it."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["vlm_demo*"]), "vlm_demo.assets"],
    package_dir={"vlm_demo.assets": "assets"},
    package_data={
        "": ["**/*.json", "**/*.css", "**/*.js", "**/*.html"],
        "vlm_demo.assets": ["**/*"],
        "vlm_demo.images": ["*.png"],
    },
)
