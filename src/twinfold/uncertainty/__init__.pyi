from .conformal import calibrate as calibrate, reserve as reserve
from .support import Support as Support
