"""What a biologist sees of each of the 28 subcellular locations in the protein's channel."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A publication: short name and address."""

    name: str
    address: str


@dataclass(frozen=True)
class PatternDescription:
    """One pattern in words.

    Attributes:
        seen: What glows, one sentence.
        distinguished: What tells it from the patterns it is mistaken for, one sentence that
            names them as `labels.CLASS_NAMES` does.
        source: Where it is described.
    """

    seen: str
    distinguished: str
    source: Source


CELL_ATLAS = Source("Thul et al. 2017", "https://doi.org/10.1126/science.aal3321")
DICTIONARY = Source(
    "Human Protein Atlas, cell dictionary", "https://www.proteinatlas.org/learn/dictionary/cell"
)
_FIBRILLAR_CENTERS = Source(
    "Koberna et al. 2002", "https://pmc.ncbi.nlm.nih.gov/articles/PMC2173423"
)
_SPECKLES = Source("Spector & Lamond 2011", "https://doi.org/10.1101/cshperspect.a000646")
_MICROTUBULE_ENDS = Source(
    "Lansbergen & Akhmanova 2006", "https://doi.org/10.1111/j.1600-0854.2006.00400.x"
)
_AGGRESOMES = Source("Johnston et al. 1998", "https://doi.org/10.1083/jcb.143.7.1883")
_RNA_GRANULES = Source("Anderson & Kedersha 2009", "https://doi.org/10.1038/nrm2694")
_RODS_AND_RINGS = Source("Carcamo et al. 2011", "https://doi.org/10.1371/journal.pone.0029690")

PATTERN_DESCRIPTIONS: dict[str, PatternDescription] = {
    "Nucleoplasm": PatternDescription(
        "The whole nucleus glows evenly or finely grained, with the nucleoli left darker.",
        "Nucleoli are the negative of it, and Nuclear speckles gather in separate patches on a "
        "dimmer nucleus.",
        CELL_ATLAS,
    ),
    "Nuclear membrane": PatternDescription(
        "A thin closed line follows the border of the nucleus; folds cross its inside.",
        "Nucleoplasm fills the nucleus instead of outlining it, and the Endoplasmic reticulum "
        "goes on beyond the envelope as a mesh.",
        CELL_ATLAS,
    ),
    "Nucleoli": PatternDescription(
        "One to a few large, compact bodies glow in each nucleus, where the DNA stain is dark.",
        "Nuclear bodies are smaller, rounder and lie outside the nucleoli; Nucleoli fibrillar "
        "center shows dots inside them.",
        CELL_ATLAS,
    ),
    "Nucleoli fibrillar center": PatternDescription(
        "Small bright dots sit in groups inside each nucleolus and leave the rest of it dim.",
        "Nucleoli glow as a whole, and Nuclear bodies do not gather in the holes of the DNA stain.",
        _FIBRILLAR_CENTERS,
    ),
    "Nuclear speckles": PatternDescription(
        "Twenty to fifty irregular patches of different size share each nucleus and spare the "
        "nucleoli.",
        "Nuclear bodies are fewer, round and sharply bounded; Nucleoplasm has no separate patches.",
        _SPECKLES,
    ),
    "Nuclear bodies": PatternDescription(
        "A few round, bright dots with sharp borders lie in each nucleus.",
        "Nuclear speckles are more numerous and irregular, Nucleoli larger, and Cytoplasmic "
        "bodies lie outside the nucleus.",
        DICTIONARY,
    ),
    "Endoplasmic reticulum": PatternDescription(
        "A mesh fills the cytoplasm, densest around the nucleus, whose envelope is part of it.",
        "It coincides with the yellow landmark; Mitochondria are separate worms, and the Cytosol "
        "is smooth.",
        CELL_ATLAS,
    ),
    "Golgi apparatus": PatternDescription(
        "Short ribbons and stacks crowd together on one side of the nucleus.",
        "Lysosomes and Endosomes are single round vesicles, an Aggresome is one solid mass, and "
        "a Centrosome is a dot.",
        CELL_ATLAS,
    ),
    "Peroxisomes": PatternDescription(
        "Very many small dots of equal size are scattered through the cytoplasm.",
        "Endosomes and Lysosomes are larger, fewer and lie in groups; a marker stain is needed "
        "to be certain.",
        DICTIONARY,
    ),
    "Endosomes": PatternDescription(
        "Vesicles of uneven size, some of them open rings, lie in the cytoplasm.",
        "Peroxisomes are smaller and even, Lysosomes fuller and gathered at the nucleus; a "
        "marker stain is needed to be certain.",
        DICTIONARY,
    ),
    "Lysosomes": PatternDescription(
        "Filled round vesicles gather beside the nucleus and thin out towards the cell's edge.",
        "The Golgi apparatus is made of ribbons; Endosomes are partly hollow and spread further.",
        DICTIONARY,
    ),
    "Intermediate filaments": PatternDescription(
        "Wavy, tangled fibres form a basket around the nucleus and loosen outwards.",
        "Microtubules run out from one centre and reach the edge; Actin filaments are straight "
        "and parallel.",
        CELL_ATLAS,
    ),
    "Actin filaments": PatternDescription(
        "Straight, parallel bundles run along the flat cell, over the nucleus too, and line its "
        "edge.",
        "Intermediate filaments and Microtubules are bent and go around the nucleus; Focal "
        "adhesion sites are only the ends of such bundles.",
        CELL_ATLAS,
    ),
    "Focal adhesion sites": PatternDescription(
        "Short streaks near the cell's edge point inwards, most of them at the ends of stress "
        "fibres.",
        "Actin filaments are the long bundles between them; the Plasma membrane is an unbroken "
        "line.",
        CELL_ATLAS,
    ),
    "Microtubules": PatternDescription(
        "Long thin filaments run in curves from a centre beside the nucleus to the cell's edge.",
        "It coincides with the red landmark; Intermediate filaments are more tangled and stay "
        "near the nucleus.",
        CELL_ATLAS,
    ),
    "Microtubule ends": PatternDescription(
        "Short comets point outwards, most of them in the outer part of the cell.",
        "Microtubules are lit along their whole length; Focal adhesion sites are broader and lie "
        "at the edge itself.",
        _MICROTUBULE_ENDS,
    ),
    "Cytokinetic bridge": PatternDescription(
        "A thin bridge joins two daughter cells, often with a brighter knot in its middle.",
        "The Mitotic spindle lies inside one round cell; a Centrosome lies beside a nucleus and "
        "not between cells.",
        DICTIONARY,
    ),
    "Mitotic spindle": PatternDescription(
        "A spindle with two poles fills a rounded cell, and condensed chromosomes lie across its "
        "middle.",
        "The Cytokinetic bridge appears later, between two cells whose nuclei are whole again.",
        DICTIONARY,
    ),
    "Microtubule organizing center": PatternDescription(
        "A diffuse patch or cloud of grains glows where the microtubules meet.",
        "A Centrosome is one sharp dot or two; the Golgi apparatus is larger and made of ribbons.",
        DICTIONARY,
    ),
    "Centrosome": PatternDescription(
        "One or two sharp dots a cell lie close to the nucleus, where the microtubules meet.",
        "The Microtubule organizing center is larger and blurred; vesicles such as Endosomes are "
        "many.",
        DICTIONARY,
    ),
    "Lipid droplets": PatternDescription(
        "Groups of small rings lie in the cytoplasm, since the coat glows and the fat inside "
        "does not.",
        "Peroxisomes and Lysosomes are filled; the rings of Rods & rings are larger and few.",
        DICTIONARY,
    ),
    "Plasma membrane": PatternDescription(
        "The outline of every cell glows, free edges and contacts alike, often with ruffles.",
        "Cell junctions glow at contacts alone; the Cytosol fills the cell and fades at its edge.",
        CELL_ATLAS,
    ),
    "Cell junctions": PatternDescription(
        "Bright lines lie where neighbouring cells touch, and free edges stay dark.",
        "The Plasma membrane glows all around, in single cells too.",
        DICTIONARY,
    ),
    "Mitochondria": PatternDescription(
        "Short, curved threads fill the cytoplasm, densest around the nucleus.",
        "The Endoplasmic reticulum is one connected mesh with the envelope; Peroxisomes are dots.",
        CELL_ATLAS,
    ),
    "Aggresome": PatternDescription(
        "One dense mass beside the nucleus pushes other structures aside.",
        "The Golgi apparatus is made of ribbons; Cytoplasmic bodies are small and several.",
        _AGGRESOMES,
    ),
    "Cytosol": PatternDescription(
        "The cytoplasm glows smoothly, brightest where the cell is thick, and the nucleus stays "
        "dark.",
        "The Endoplasmic reticulum and Mitochondria have texture; the Plasma membrane is "
        "brightest at the edge.",
        CELL_ATLAS,
    ),
    "Cytoplasmic bodies": PatternDescription(
        "A few round dots with sharp borders lie in the cytoplasm of each cell.",
        "Nuclear bodies lie inside the nucleus; Endosomes and Lysosomes are more numerous and "
        "lie in groups.",
        _RNA_GRANULES,
    ),
    "Rods & rings": PatternDescription(
        "A few straight rods of 3 to 10 µm and rings of 2 to 5 µm across lie in the cytoplasm.",
        "Lipid droplets are smaller rings in groups; Actin filaments are many and parallel.",
        _RODS_AND_RINGS,
    ),
}
"""The description of each class, in the order of `hpa_lib.labels.CLASS_NAMES`."""
