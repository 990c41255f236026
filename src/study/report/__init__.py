"""How runs compare: `python -m study.report` reads what tracking wrote and shows approaches beside one another.

The published figures (`published.csv`) are those of H. You, Z. Wang, Z. Dong, L. Mo, J. Zhao, J. Chen, "A Comprehensive
Study of Deep Learning Model Fixing Approaches", ICSE 2026, arXiv 2512.23745. They are not results of this project.
"""
