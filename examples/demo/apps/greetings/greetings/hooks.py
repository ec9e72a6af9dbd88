app_name = "greetings"
app_title = "Greetings"
app_publisher = "Carafe maintainers"
app_description = "An app for Carafe's demo: it greets"
app_license = "Apache-2.0"

required_apps = ["frappe"]

app_include_js = "greetings.bundle.js"
app_include_css = "greetings.bundle.css"
