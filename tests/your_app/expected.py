"""What is open in each of the eight apps. Written from their code alone, before they were attacked."""

O, R, N = "open", "refused", "not tried"
APPS = (
    "documented", "address", "dismissed", "refreshed",
    "cookies", "by_email", "sub_app", "plain_starlette",
)  # fmt: skip
BY_ATTACK = {
    # 01
    "nul-in-password":              (R, O, O, O, O, R, R, R),
    "long-password-cut":            (R, O, O, N, O, R, O, R),
    "huge-password":                (R, O, O, O, O, R, R, R),
    "odd-password":                 (R, R, R, R, R, O, R, O),
    "hash-blocks-loop":             (O, O, O, O, R, O, R, R),
    "cheap-hash":                   (R, O, O, O, R, R, R, R),
    # 02
    "forged-token":                 (R, N, R, R, R, R, N, N),
    "published-secret":             (O, O, O, O, R, R, N, N),
    "eternal-token":                (R, N, R, R, R, R, R, O),
    "refresh-as-access":            (N, N, N, O, N, R, N, N),
    # 03
    "login-tells-accounts":         (R, O, O, O, R, O, R, O),
    "password-in-address":          (R, O, R, R, R, R, R, R),
    "sign-up-takes-over":           (N, O, N, N, R, R, N, R),
    # 04
    "open-route":                   (R, O, R, R, R, R, O, R),
    "disabled-user":                (R, N, O, N, N, R, N, N),
    "removed-user":                 (R, N, O, N, R, R, R, R),
    "token-after-password-change":  (N, N, N, N, O, O, R, O),
    # 05
    "refresh-reuse":                (N, N, N, O, N, O, N, N),
    "logout-keeps-access":          (N, N, N, N, O, O, R, R),
    "logout-keeps-refresh":         (N, N, N, N, N, O, N, N),
    # 06
    "admin-as-plain-user":          (N, N, N, N, N, R, O, N),
    "admin-without-token":          (N, N, N, N, N, R, O, N),
    "rights-at-sign-up":            (N, N, N, N, N, O, N, N),
    "rights-by-patch":              (N, N, N, N, N, R, N, N),
    "things-of-others":             (N, N, N, N, N, N, O, N),
    # 08
    "cookie-flags":                 (N, N, N, N, O, N, N, N),
    "foreign-form":                 (N, N, N, N, O, N, N, N),
    "fixation":                     (N, N, N, N, R, N, N, N),
    # 10
    "no-attempt-limit":             (O, O, O, O, O, O, R, O),
    "huge-body":                    (O, R, O, O, O, O, O, O),
    "no-store":                     (O, O, O, O, O, O, O, O),
    "odd-input":                    (R, R, R, R, R, O, R, O),
    "error-details":                (R, R, R, R, R, R, R, O),
    "hash-in-answer":               (R, R, R, R, R, R, O, R),
    "input-repeated":               (R, R, R, R, R, O, R, R),
}  # fmt: skip
