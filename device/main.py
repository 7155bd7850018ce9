# Starts the application, or safe mode (slots.py). Never updated.
import slots

slots.main()
