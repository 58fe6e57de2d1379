from .adapt import forget as forget
from .online import Tracker as Tracker
