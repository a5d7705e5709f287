"""Eight small apps as other people write them, and what `pytest lessons/your_app` says of each."""
