"""The triangular dense layer: the same function and gradients as its product, and triangles that stay triangles."""

import torch

import snf_lite as snf


def random_layer(features: int, seed: int = 0) -> snf.LULinear:
    torch.manual_seed(seed)
    layer = snf.LULinear(features).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.5)
    layer.clear()
    return layer


def test_the_step_leaves_the_gradients_of_the_plain_product() -> None:
    layer, x = random_layer(6), torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    sources = [x, *layer.parameters()]
    found = []
    for path in (layer.surrogate, layer.transform):
        z, log_det = path(x)[:2]
        found.append(torch.autograd.grad((z.sin() * torch.arange(6)).sum() + log_det.sum(), sources))
    for step, plain in zip(*found, strict=True):
        assert torch.allclose(step, plain, atol=1e-12)


def test_the_diagonal_is_the_determinant_of_the_product() -> None:
    layer = random_layer(7)
    wanted = torch.linalg.slogdet(layer.weight)[1]
    assert abs(float((layer.log_abs_det() - wanted).detach())) < 1e-12
    z, log_det = layer(torch.randn(3, 7, dtype=torch.float64))
    assert torch.allclose(log_det, wanted.expand(3), atol=1e-12)
    assert torch.allclose(z, layer(layer.inverse(z))[0], atol=1e-9)


def test_training_keeps_the_triangles() -> None:
    torch.manual_seed(0)
    flow = snf.Flow([snf.LULinear(4)], (4,))
    snf.fit(flow, torch.randn(300, 4), epochs=3, lr=0.05, whiten=True)
    (layer,) = flow.layers
    assert torch.count_nonzero(layer.lower.triu()) == 0 and torch.count_nonzero(layer.upper.tril(-1)) == 0
    assert torch.count_nonzero(layer.lower) == 6 and torch.count_nonzero(layer.upper) == 10


def test_whitening_gives_the_symmetric_root_that_the_other_dense_layers_start_from() -> None:
    torch.manual_seed(0)
    x = torch.randn(50, 5, dtype=torch.float64) @ torch.randn(5, 5, dtype=torch.float64) + 3
    triangular, plain = snf.LULinear(5).double(), snf.ExactLinear(5).double()
    with torch.no_grad():
        for layer in (triangular, plain):
            layer.initialise(x, whiten=True)
    assert torch.allclose(triangular.weight, plain.weight, atol=1e-10)
    assert torch.allclose(triangular.bias, plain.bias, atol=1e-10)
    z = triangular(x)[0].detach()
    assert torch.allclose(torch.cov(z.T), torch.eye(5, dtype=z.dtype), atol=1e-8)
