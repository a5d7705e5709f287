"""FastAPI's documentation as demo 00 has it, with a person in it, for `python -m tests.load`."""

from notebooks.tutorials.documented import (
    User,
    app,
    fake_users_db,
    get_password_hash,
    read_users_me,
)

fake_users_db["johndoe"] = {
    "username": "johndoe",
    "full_name": "John Doe",
    "email": "johndoe@example.com",
    "hashed_password": get_password_hash("secret"),
    "disabled": False,
}
# Its own path ends in a slash. A redirect at each request would flatter the workbook.
app.add_api_route("/users/me", read_users_me, response_model=User)
