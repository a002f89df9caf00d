"""One machine, one command: ./start installs, sets up and supervises everything that Nibble needs.

install.py, environment.py, options.py and terminal.py run before anything is installed: standard library only.
"""
