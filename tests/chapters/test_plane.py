"""Pictures of the plane and the areas in them: what is measured is right, and what is drawn is what was measured."""

import io
import math
from itertools import pairwise

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import Wedge
from PIL import Image
from snf_book.plane import Plane, polygon_area, show_compass, show_growth_scale, show_warped_grid, square_outline
from torch import Tensor

import snf_lite as snf
from snf_lite.analysis.figures import SERIES, panels
from snf_lite.analysis.jacobian import Map, log_volume

DOUBLE = torch.float64


def bent_map(seed: int) -> Map:
    """A smooth map of the plane with random parameters, far from linear; its Jacobian is singular on curves only."""
    torch.manual_seed(seed)
    inner, outer = torch.randn(2, 2, 2, dtype=DOUBLE)
    return lambda x: x @ inner + torch.sin(2 * x @ outer + 1)


# ---- the volume element ----------------------------------------------------------------------------------------------


@pytest.mark.equation("eq-volume")
@pytest.mark.parametrize("seed", range(5))
def test_log_volume_is_the_limit_of_the_growth_of_small_squares(seed: int) -> None:
    """And the error falls like h², as it must for squares around the point."""
    f, centre = bent_map(seed), torch.randn(2, dtype=DOUBLE)
    exact = log_volume(f, centre[None])[0].exp()
    growths = [polygon_area(f(square_outline(centre, h, 500))) / h**2 for h in (2e-2, 1e-2, 5e-3)]
    errors = [float((growth - exact).abs()) for growth in growths]
    assert errors[-1] < 1e-3 * float(exact)
    assert all(3.8 < larger / smaller < 4.2 for larger, smaller in pairwise(errors))


@pytest.mark.equation("eq-volume")
def test_log_volume_is_the_growth_of_small_boxes_in_space() -> None:
    """A box between two radii, two heights and two angles has a volume that is known: here its limit is r² sin θ."""

    def ball(x: Tensor) -> Tensor:
        r, theta, phi = x.unbind(1)
        flat = r * theta.sin()
        return torch.stack([flat * phi.cos(), flat * phi.sin(), r * theta.cos()], 1)

    torch.manual_seed(0)
    x, h = torch.rand(20, 3, dtype=DOUBLE) + 0.5, 1e-4
    r, theta, _ = x.unbind(1)
    box = ((r + h) ** 3 - (r - h) ** 3) / 3 * (torch.cos(theta - h) - torch.cos(theta + h)) * 2 * h
    assert torch.allclose(log_volume(ball, x).exp(), box / (2 * h) ** 3, rtol=1e-7)


def test_log_volume_of_a_linear_map_is_the_same_everywhere_whatever_its_sign() -> None:
    x = torch.randn(4, 3, dtype=DOUBLE)
    assert torch.allclose(log_volume(lambda x: x * torch.tensor([-2.0, 3.0, 1.0]), x), torch.tensor(math.log(6)).to(x))
    assert (log_volume(lambda x: 0 * x, x) == -math.inf).all()
    assert log_volume(lambda x: 2 * x, x.float()).dtype == torch.float32


def test_log_volume_takes_layers_and_has_derivatives_by_their_parameters() -> None:
    torch.manual_seed(0)
    layer, x = snf.ExactLinear(3).double(), torch.randn(4, 3, dtype=DOUBLE)
    found = log_volume(lambda x: layer(x)[0], x)
    assert torch.allclose(found, layer(x)[1], atol=1e-12)
    (gradient,) = torch.autograd.grad(found.mean(), layer.weight)
    assert torch.allclose(gradient, torch.linalg.inv(layer.weight).T, atol=1e-12)


def test_log_volume_refuses_what_has_no_determinant() -> None:
    with pytest.raises(ValueError, match=r"x of shape \(B, D\), got \(3,\)"):
        log_volume(lambda x: x, torch.zeros(3))
    with pytest.raises(ValueError, match=r"f to give vectors of shape \(3,\), got \(2,\)"):
        log_volume(lambda x: x[:, :2], torch.zeros(1, 3))


# ---- polygons --------------------------------------------------------------------------------------------------------


def test_areas_of_polygons_that_are_known() -> None:
    triangle = torch.tensor([[0.0, 0.0], [3.0, 0.0], [1.0, 4.0]])
    ell = torch.tensor([[0.0, 0], [2, 0], [2, 1], [1, 1], [1, 3], [0, 3]])
    assert polygon_area(triangle) == 6 and polygon_area(triangle.flip(0)) == 6
    assert polygon_area(ell) == 4 and polygon_area(ell + 7) == 4
    assert torch.equal(polygon_area(torch.stack([triangle, 2 * triangle])), torch.tensor([6.0, 24.0]))
    with pytest.raises(ValueError, match=r"corners of shape \(N, 2\), got \(4, 3\)"):
        polygon_area(torch.zeros(4, 3))


def test_a_square_outline_runs_once_around_in_equal_steps() -> None:
    centre = torch.tensor([1.0, -2.0], dtype=DOUBLE)
    assert torch.equal(square_outline(centre, 2.0), torch.tensor([[0.0, -3], [2, -3], [2, -1], [0, -1]], dtype=DOUBLE))
    outline = square_outline(centre, 2.0, 5)
    steps = (outline.roll(-1, 0) - outline).norm(dim=1)
    assert outline.shape == (20, 2) and torch.allclose(steps, torch.full_like(steps, 0.4))
    assert torch.allclose(polygon_area(outline), torch.tensor(4.0, dtype=DOUBLE))
    with pytest.raises(ValueError, match="points to be a positive integer, got 0"):
        square_outline(centre, 1.0, 0)


# ---- a density over the plane ----------------------------------------------------------------------------------------


def test_the_integral_of_a_normal_density_is_one_and_of_a_constant_the_area() -> None:
    plane = Plane(6.0, 60)
    assert plane.points.shape == (3600, 2)
    assert plane.integral(torch.exp(-plane.points.square().sum(1) / 2) / (2 * math.pi)) == pytest.approx(1, abs=1e-6)
    assert plane.integral(torch.ones(3600)) == pytest.approx(144)


def test_a_density_is_shown_where_it_is() -> None:
    """A bright cell to the right and below the middle is drawn there."""
    plane, (_, axes) = Plane(2.0, 4), panels(1)
    bright = (plane.points == torch.tensor([1.5, -0.5])).all(1).double()
    plane.show(axes, bright + 0.5, brightest=2.0, title="a cell")
    (image,) = axes.images
    left, right, bottom, top = image.get_extent()
    assert (left, right, bottom, top) == (-2, 2, -2, 2) and image.origin == "lower"
    assert divmod(int(image.get_array().argmax()), 4) == (1, 3)  # the row is the second coordinate
    assert image.get_clim() == (0, 2) and axes.get_title() == "a cell"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("first coordinate", "second coordinate")


@pytest.mark.parametrize("settings", [{"side": 0.0}, {"side": math.inf}, {"cells": 0}, {"cells": 2.5}])
def test_a_plane_refuses_sides_and_cells_that_make_no_grid(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"Plane: expected {next(iter(settings))}"):
        Plane(**settings)  # type: ignore[arg-type]


def test_a_plane_refuses_a_density_that_is_not_its_own() -> None:
    for wrong in (torch.ones(15), torch.ones(4, 4), torch.ones(())):
        with pytest.raises(ValueError, match=r"shape \(16,\), one number a cell, got"):
            Plane(1.0, 4).integral(wrong)
        with pytest.raises(ValueError, match=r"shape \(16,\), one number a cell, got"):
            Plane(1.0, 4).show(panels(1)[1], wrong)


# ---- a warped grid ---------------------------------------------------------------------------------------------------


def drawn(f: Map) -> PolyCollection:
    return show_warped_grid(panels(1)[1], f, side=2.0, cells=4)


def test_a_warped_grid_shows_each_moved_cell_in_the_colour_of_its_growth() -> None:
    def f(x: Tensor) -> Tensor:  # areas grow by 2 to the right of 0, shrink to a quarter to the left
        return torch.stack([torch.where(x[:, 0] > 0, 4 * x[:, 0], x[:, 0] / 2), x[:, 1] / 2], 1)

    cells = drawn(f)
    corners = [torch.tensor(path.vertices[:4]) for path in cells.get_paths()]
    areas = polygon_area(torch.stack(corners))
    assert len(corners) == 16 and areas.sum() == 8 * 2 + 8 / 4
    assert torch.allclose(torch.tensor(cells.get_array()).double(), areas.log2())
    assert cells.get_clim() == (-2, 2)


def test_a_warped_grid_is_drawn_to_scale_within_its_limits() -> None:
    _, axes = panels(1)
    show_warped_grid(axes, lambda x: x, limit=2.5)
    assert axes.get_xlim() == axes.get_ylim() == (-2.5, 2.5) and axes.get_aspect() == 1
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("first coordinate", "second coordinate")


def test_colours_of_growing_and_shrinking_cells_differ_and_lines_are_seen_at_rest() -> None:
    def colour(f: Map) -> tuple[float, ...]:
        cells = drawn(f)
        return to_rgba(cells.to_rgba(cells.get_array())[0])

    grown, shrunk, same = (colour(lambda x, by=by: by * x) for by in (1.5, 0.6, 1.0))
    assert grown[0] > grown[2] and shrunk[2] > shrunk[1] and min(same) > 0.9
    assert sum(drawn(lambda x: x).get_edgecolor()[0][:3]) < 2


def test_a_grid_of_no_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="show_warped_grid: expected cells to be a positive integer, got 0"):
        show_warped_grid(panels(1)[1], lambda x: x, cells=0)


def test_the_scale_says_in_words_how_much_areas_grow() -> None:
    figure, axes = panels(1)
    scale = show_growth_scale(axes, show_warped_grid(axes, lambda x: x))
    words = dict(zip(scale.get_ticks(), (label.get_text() for label in scale.ax.get_yticklabels()), strict=True))
    assert words == {-2: "÷4", -1: "÷2", 0: "×1", 1: "×2", 2: "×4"}
    assert scale.ax.get_ylabel() == "area after the move" and len(figure.axes) == 2


# ---- a compass, and figures in general -------------------------------------------------------------------------------


def test_a_compass_points_each_arrow_at_its_angle() -> None:
    _, axes = panels(1)
    show_compass(axes, [60.0, 135.0], ["learned", "first order"])
    tips = [line.get_xydata()[0] for line in axes.lines]
    assert [math.degrees(math.atan2(x, y)) for x, y in tips] == pytest.approx([60, 135])  # from the vertical
    assert [(line.get_color(), line.get_marker()) for line in axes.lines] == list(SERIES[:2])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["learned: 60°", "first order: 135°"]
    arrows = [text.xy for text in axes.texts if hasattr(text, "arrow_patch") and text.arrow_patch]
    assert arrows[0] == (0, 1) and arrows[1:] == [pytest.approx(tip) for tip in tips]


def test_the_shaded_half_of_a_compass_is_the_one_beyond_a_right_angle() -> None:
    _, axes = panels(1)
    show_compass(axes, [10.0], ["one"])
    (shade,) = [patch for patch in axes.patches if isinstance(patch, Wedge)]
    top = shade.get_path().vertices[:, 1].max()
    assert abs(top) < 1e-9 and shade.r == 1


def test_the_trail_of_a_compass_fades_towards_the_past() -> None:
    _, axes = panels(1)
    show_compass(axes, [10.0, 20.0], ["one", "two"], trail=[[90.0, 120.0], [45.0, 60.0]])
    trails = [lines for lines in axes.collections if isinstance(lines, LineCollection)][1:]  # behind the degree marks
    ends = [[math.degrees(math.atan2(*path.vertices[1])) for path in lines.get_paths()] for lines in trails]
    assert ends == [pytest.approx([90, 45]), pytest.approx([120, 60])]
    assert all(old[3] < new[3] for old, new in (lines.get_colors() for lines in trails))


def test_no_words_of_a_compass_lie_on_its_arrows() -> None:
    figure, axes = panels(1, width=3.5)
    show_compass(axes, [20.0, 45.0, 70.0, 170.0], ["a long name"] * 4)
    FigureCanvasAgg(figure).draw()
    legend = axes.get_legend().get_window_extent()
    assert all(legend.y1 < axes.transData.transform(line.get_xydata()[0])[1] for line in axes.lines)


def test_a_compass_refuses_what_it_would_draw_wrongly() -> None:
    axes = panels(1)[1]
    with pytest.raises(ValueError, match="as many labels as angles, 4 at most, got 2 angles and 1 labels"):
        show_compass(axes, [1.0, 2.0], ["one"])
    with pytest.raises(ValueError, match="got 5 angles"):
        show_compass(axes, [1.0] * 5, ["one"] * 5)
    for wrong in (-1.0, 181.0, math.nan):
        with pytest.raises(ValueError, match=r"an angle in \[0, 180\]"):
            show_compass(axes, [wrong], ["one"])


def test_panels_are_white_side_by_side_and_show_themselves() -> None:
    figure, both = panels(2, height=2.0, width=5.0)
    assert len(both) == 2 and tuple(figure.get_size_inches()) == (5, 2)
    assert to_rgba(figure.get_facecolor()) == (1, 1, 1, 1)
    assert [axes.get_subplotspec().colspan.start for axes in both] == [0, 1]
    png, metadata = figure._repr_png_()
    assert png.startswith(b"\x89PNG") and metadata == {"width": 560}
    assert Image.open(io.BytesIO(png)).width > 1.5 * metadata["width"]


def test_colours_and_markers_are_told_apart() -> None:
    colours, markers = zip(*SERIES, strict=True)
    assert len(set(colours)) == len(set(markers)) == len(SERIES) == 4
