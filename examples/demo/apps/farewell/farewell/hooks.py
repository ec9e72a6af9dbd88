app_name = "farewell"
app_title = "Farewell"
app_publisher = "Carafe maintainers"
app_description = "An app for Carafe's demo: it requires greetings"
app_license = "Apache-2.0"

required_apps = ["greetings"]
