"""One pass per file: the rewrite rules in its docstring, one function of its name.

A pass changes a model in place, keeps its outputs, and returns how often its rule applied. Running
it a second time changes nothing. Which of them run, and in what order, stands in
`toolkit.graph.cleaning`; quantization runs a few more.
"""
