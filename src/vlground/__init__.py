"""vlground measures, explains and improves how well vision models ground language in images.

Importing it is instant: it only installs the torchvision hook (see `torchvision_hook`), which does
nothing until somebody imports torchvision, and nothing at all where torchvision works.
"""

from vlground.torchvision_hook import install

__version__ = "0.1.0"

install()
