"""The folder results/ of this repository: published studies without texts, their index, and their reports made again."""
