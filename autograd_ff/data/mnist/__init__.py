"""The MNIST database of handwritten digits, as the four original idx files (licence: see LICENSE in this folder).

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", Proceedings of
the IEEE, 1998. Read them with `autograd_ff.datasets.MNIST`.
"""
